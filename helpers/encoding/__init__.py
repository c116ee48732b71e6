"""Where models are, how they want their texts, texts to vectors, and vectors on disk."""

from helpers.encoding.encoder import Embedder, embedder_settings, token_lengths, training_profile
from helpers.encoding.models import base_model, load_encoder, model_folder
from helpers.encoding.vectors import vector_blocks
