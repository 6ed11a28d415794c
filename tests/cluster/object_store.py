"""The test cluster's object store, seen from outside: models go in, and the Secret to fetch them with comes out."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.cluster.cluster import BUCKET, Cluster

NAMESPACE = "object-store"
CREDENTIALS = "models-s3"
"""Name of the Secret that `grant_access` makes."""


def upload(cluster: Cluster, files: Mapping[str, Path | bytes]) -> None:
    """Put files into the bucket of models, by their keys."""
    credentials = _credentials(cluster)
    with cluster.port_forward(NAMESPACE, "object-store", 9000) as url:
        store = S3Store(
            BUCKET,
            endpoint=url,
            region=credentials["AWS_REGION"],
            access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )
        for key, content in files.items():
            obstore.put(store, key, content)


def grant_access(cluster: Cluster, namespace: str) -> None:
    """Make the Secret with which an InferenceService in `namespace` fetches models."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CREDENTIALS, "namespace": namespace},
        "stringData": _credentials(cluster),
    }
    cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(secret))


def _credentials(cluster: Cluster) -> dict[str, str]:
    secret = json.loads(cluster.kubectl("get", "secret", "-n", NAMESPACE, "root-credentials", "-o", "json"))
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
