"""What notebooks, scripts and tests share, in rooms; each imports from those above it and none from those below.

base        settings, errors in one sentence, whole files, TREC files, the Hub
sampling    pairs from any source; the split and the negatives; training set, evaluation set, corpus
encoding    where models are, how they want their texts, texts to vectors, vectors on disk
recall      search by vectors (FAISS) and by words (BM25)
evaluation  measures, results, significance, tables, pictures, search box, audit
training    what is checked before; the training and its parts; its log, curve and card; publishing
scale       encoding and search on a Ray cluster
benchmarks  speed and memory, measured beside others
"""
