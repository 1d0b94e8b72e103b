"""Networks in the formats of other programs, proved on recordings."""

import os

# Here, since Keras loads TensorFlow when the first module of this room imports it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
