"""Which passages of the corpus a query finds: by vectors with FAISS, by words with BM25."""

from helpers.recall.bm25 import Bm25Settings, bm25_run, bm25_settings
from helpers.recall.index import build_index, index_line, search, search_with
