"""Training and searches of hyper-parameters, and what they keep."""

import os

# Here, since Keras loads TensorFlow when the first module of this room imports it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
