# One image for the web and for the workers. Everything it needs to know comes from the environment:
#
#   docker run --env-file production.env IMAGE python manage.py migrate
#   docker run --env-file production.env --publish 8000:8000 IMAGE
#   docker run --env-file production.env --no-healthcheck IMAGE \
#       python manage.py rqworker critical high normal low events
#
# A worker needs no health check: it ends by itself when it is stuck, and --restart starts it again.

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PATH=/venv/bin:$PATH
RUN python -m venv /venv && pip install --upgrade "pip>=25.1"
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --constraint constraints.txt --group example
COPY emailqueue emailqueue
COPY events events
RUN pip install --constraint constraints.txt .
WORKDIR /app
COPY manage.py ./
COPY config config
COPY templates templates
# The key counts for this command alone. Without one the image does not start, see config/settings.py.
RUN SECRET_KEY=unused python manage.py collectstatic --noinput

FROM python:3.13-slim
ENV DEBUG=0 PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --no-create-home app
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER app
EXPOSE 8000
STOPSIGNAL SIGTERM
# The request names a host that Django answers to.
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import os, urllib.request as web; \
host = os.environ['ALLOWED_HOSTS'].split(',')[0].strip().lstrip('.*') or 'localhost'; \
web.urlopen(web.Request('http://127.0.0.1:8000/admin/login/', headers={'Host': host}), timeout=5)"]
CMD ["gunicorn", "config.wsgi", "--bind=0.0.0.0:8000", "--workers=2", "--threads=4", "--worker-tmp-dir=/dev/shm", \
     "--no-control-socket"]
