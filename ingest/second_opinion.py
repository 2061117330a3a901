"""Asks an OpenAI-compatible vision endpoint about pictures, beside everything else.

Nothing here makes anybody wait: a question that finds no free hand, no budget or no answer in
time comes to nothing and is counted, and the event goes on as it was.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import httpx

from core.errors import DecodeError
from core.settings import OpinionSettings
from vision.opinion import MAX_ANSWER_BYTES, Opinion, parse_answer, request_body

_LOG = logging.getLogger(__name__)

#: Opinions remembered by picture and question, some 300 B each.
_CACHED = 512

#: Answers that wait to be taken; more than can be on their way at once.
_MAX_ANSWERS = 1024

_HOUR_S = 3600.0


class SecondOpinion:
    """Asks; answers are taken from :attr:`answers` by whoever asked.

    Args:
        settings: Endpoint, model, limits.
        monotonic_s: The clock of the budget and of time-outs.
    """

    def __init__(
        self, settings: OpinionSettings, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        #: What became of questions, by outcome; only ``opinion`` and ``cached`` gave an answer.
        self.counts: dict[str, int] = {}
        #: (what was asked about, the opinion), the oldest first.
        self.answers: deque[tuple[str, Opinion]] = deque(maxlen=_MAX_ANSWERS)
        self._settings = settings
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._asked_s: deque[float] = deque(maxlen=settings.per_hour)
        self._cache: OrderedDict[bytes, Opinion] = OrderedDict()
        self._hands = threading.BoundedSemaphore(settings.concurrent)
        key = settings.secret()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout_s,
            # A proxy of the environment would see the pictures; an endpoint that moves, too.
            trust_env=False,
            follow_redirects=False,
        )
        self._stopped = threading.Event()

    def ask(self, about: str, asked: str, jpeg: bytes) -> None:
        """Ask about a picture; returns at once.

        Args:
            about: What the answer is filed under.
            asked: The question.
            jpeg: The picture as it is stored: blurred.
        """
        digest = hashlib.blake2b(asked.encode() + b"\0" + jpeg, digest_size=16).digest()
        with self._lock:
            known = self._cache.get(digest)
            if known is not None:
                self._cache.move_to_end(digest)
                self._count("cached")
                self.answers.append((about, known))
                return
            now_s = self._monotonic_s()
            if self._stopped.is_set() or not self._hands.acquire(blocking=False):
                self._count("busy")
                return
            full = len(self._asked_s) == self._settings.per_hour
            if full and now_s - self._asked_s[0] < _HOUR_S:
                self._hands.release()
                self._count("over_budget")
                return
            self._asked_s.append(now_s)
        # A thread for each, no more than hands: a pool would be waited for when the process ends.
        threading.Thread(
            target=self._ask, args=(about, digest, asked, jpeg), name="opinion", daemon=True
        ).start()

    def stop(self) -> None:
        """Ask no more; what is on its way comes to nothing."""
        self._stopped.set()

    def _ask(self, about: str, digest: bytes, asked: str, jpeg: bytes) -> None:
        try:
            opinion = parse_answer(
                self._post(request_body(self._settings.model, asked, jpeg)), self._settings.model
            )
        except DecodeError as error:
            outcome = error.reason
            _LOG.info("no second opinion on %s: %s", about, error)
        # Whatever a foreign server does, an event goes on as it was.
        except Exception as error:
            outcome = "timeout" if isinstance(error, httpx.TimeoutException) else "failed"
            _LOG.info("no second opinion on %s: %s", about, type(error).__name__)
        else:
            outcome = "opinion"
            with self._lock:
                self._cache[digest] = opinion
                if len(self._cache) > _CACHED:
                    self._cache.popitem(last=False)
            self.answers.append((about, opinion))
        finally:
            self._hands.release()
        with self._lock:
            self._count(outcome)

    def _post(self, body: bytes) -> bytes:
        """The answer's body.

        Raises:
            DecodeError: ``http_NNN`` where the status is not 200, ``too_large``.
            httpx.HTTPError: No answer, or not in time.
        """
        settings = self._settings
        until_s = self._monotonic_s() + settings.timeout_s
        url = settings.url.rstrip("/") + "/chat/completions"
        headers = {"Content-Type": "application/json"}
        with self._client.stream("POST", url, content=body, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise DecodeError(f"http_{answer.status_code}", "200 was wanted")
            read = bytearray()
            for part in answer.iter_bytes():
                read += part
                if len(read) > MAX_ANSWER_BYTES:
                    raise DecodeError("too_large", f"at most {MAX_ANSWER_BYTES} bytes were wanted")
                # httpx limits each read, not their sum.
                if self._monotonic_s() > until_s:
                    raise httpx.ReadTimeout("the answer took too long")
        return bytes(read)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
