# `make images` adds the digest.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home alerts
WORKDIR /app
COPY --from=build /venv /venv
COPY alembic.ini app.py config_loader.py env_file.py log_output.py logs.py metrics.py setting_forms.py traces.py version.py ./
COPY access access
COPY alembic alembic
COPY commands commands
COPY database database
COPY routes routes
COPY rules rules
COPY work work
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BACKEND_HOST=0.0.0.0
USER alerts
EXPOSE 5000
CMD ["python", "app.py"]
