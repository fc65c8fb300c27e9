"""A replica: one engine and the routes of the server, as one Ray Serve deployment.

The routes and the engine are in one process, so a stream takes no further hop, and the server's own
batcher joins the languages and clients of a replica in one run, which `serve.batch` would split.
"""

import asyncio
import contextlib
import logging

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from mms_engine.cluster.autoscaling import METRIC
from mms_engine.errors import BackendError, MmsError
from mms_engine.serve.app import create_app
from mms_engine.serve.auth import Keyring
from mms_engine.serve.config import ServeConfig
from mms_engine.serve.errors import ApiError
from mms_engine.serve.languages import language_code
from mms_engine.serve.models import check_bundles
from mms_engine.serve.service import Service

_MOST_LANGUAGES = 100
"""Languages for which a replica is preferred: as many adapters as fit in their memory at 1B."""
_GOOD_WAIT_SECONDS = 2.0
"""Wait of recordings that counts as a full load."""


class Replica:
    """Ray Serve deployment of the server."""

    # Ray awaits it.
    async def __init__(  # type: ignore[misc]
        self, config: ServeConfig, keyring: Keyring, *, is_alone: bool
    ) -> None:
        """Open the models; the replica takes requests afterwards.

        Args:
            config: Configuration of the server.
            keyring: API keys, since the variables of the machines of a cluster are their own.
            is_alone: Whether there are no other replicas.

        Raises:
            MmsError: a bundle cannot be opened or run.
        """
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("mms_engine.serve").setLevel(logging.INFO)
        self._service = Service(config, check_bundles(config.bundles), keyring)
        if not is_alone:  # another replica would not know them
            self._service.client_secrets.refusal = (
                "client secrets are kept by one replica, and this server has several"
            )
        await self._service.load()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = create_app(self._service)

        async def with_language(scope: Scope, receive: Receive, send: Send) -> None:
            language = serve.get_multiplexed_model_id()
            if language and scope["type"] != "lifespan":
                # What the language is not, the request itself reports.
                with contextlib.suppress(ApiError, MmsError):
                    await self.hold_language(language)
            await app(scope, receive, send)

        return with_language

    @serve.multiplexed(  # type: ignore[untyped-decorator]
        max_num_models_per_replica=_MOST_LANGUAGES
    )
    async def hold_language(self, given: str) -> str:
        """Load the adapter of a language, so that Ray prefers this replica for it.

        Args:
            given: Value of the header `serve_multiplexed_model_id`: a code of the default model.

        Raises:
            ApiError: there is no such language.
            MmsError: its adapter cannot be loaded.
        """
        model = self._service.models.find()
        code = language_code(given, model.languages)
        bank = model.recognizer.acoustic.bank
        if bank is not None:
            await asyncio.to_thread(bank.prefetch, [code])
        return code

    def check_health(self) -> None:
        """Return if the replica can work; Ray replaces one that cannot.

        Raises:
            BackendError: the device failed.
        """
        if self._service.state == "failed":
            raise BackendError("the device failed")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the load of the engine, by which Ray chooses the number of replicas."""
        service = self._service
        return {METRIC: service.live.load + service.wait_seconds / _GOOD_WAIT_SECONDS}
