"""Where models are, how they want their texts, texts to vectors, and vectors on disk."""

from helpers.encoding.encoder import Embedder, token_lengths, vector_blocks
from helpers.encoding.models import base_model, load_encoder, model_folder
from helpers.encoding.settings import embedder_settings, training_profile
