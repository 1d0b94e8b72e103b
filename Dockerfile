# Denoising on a processor, without TensorFlow; README.md says how to use it.
FROM python:3.12-slim

WORKDIR /app
COPY requirements-predict.txt ./
RUN pip install --no-cache-dir -r requirements-predict.txt

COPY main.py ./
COPY speech_enhancement/ speech_enhancement/
COPY demo_data/noisy/ demo_data/noisy/
COPY demo_data/clean/ demo_data/clean/
COPY weights/*.onnx weights/*.json weights/*.md weights/

RUN useradd --uid 1000 denoise \
    && mkdir demo_data/predictions \
    && chown 1000 demo_data/predictions
USER 1000
# Whoever runs it may have no home, where matplotlib keeps what it knows of fonts.
ENV MPLCONFIGDIR=/tmp/matplotlib

# Recordings are given to the container as /sound; see README.md.
WORKDIR /sound
ENTRYPOINT ["python", "/app/main.py"]
