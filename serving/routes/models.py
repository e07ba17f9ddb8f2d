"""The models: which one answers, which were refused; and taking up a new one now."""

from __future__ import annotations

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from features.times import iso
from serving.champion import Champion, Refusal
from serving.http import answer
from serving.operation import Operation
from serving.problems import Breach
from serving.shadow import Compared, Shadow
from training.bundle import BundleError


class Reloaded(msgspec.Struct, frozen=True):
    """The version of the model that answers now, and whether it is another than before."""

    model_version: str
    changed: bool


class Serving(msgspec.Struct, frozen=True):
    """The model that answers; ``trained_until`` is null where its data had no times."""

    version: str
    since: str
    source: str
    target: str
    trained_until: str | None


class Models(msgspec.Struct, frozen=True):
    """The model that answers; the versions it can be rolled back to; those that were refused.

    Both latest first; ``refused`` since the service started. ``challenger``: the model in the
    shadow, where there is one.
    """

    serving: Serving
    previous: list[str]
    refused: list[Refusal]
    challenger: Compared | None


async def _models(request: Request) -> Response:
    champion: Champion = request.app.state.champion
    held, about = champion.bundle, champion.bundle.about
    until = None if about.timeless else iso(about.trained_until)
    serving = Serving(held.version, champion.since, about.source, about.target, until)
    shadow: Shadow | None = request.app.state.shadow
    compared = None if shadow is None else shadow.compared
    made = Models(serving, champion.kept, list(champion.refusals), compared)
    return answer(msgspec.json.encode(made))


async def _reload(request: Request) -> Response:
    champion: Champion = request.app.state.champion
    try:
        changed = await to_thread.run_sync(champion.reload)
    except BundleError as error:
        raise Breach(
            "model-refused", "The new model was refused", str(error),
            remedy=f"promote another; model {champion.bundle.version} goes on", status=409,
        ) from None  # fmt: skip
    return answer(msgspec.json.encode(Reloaded(champion.bundle.version, changed)))


OPERATIONS = (
    Operation(
        "models", "GET", "/v1/models", _models, "The model that serves, and the others",
        Models, "score", returns="Which model answers, and which others there are",
    ),
    Operation(
        "reload_model", "POST", "/v1/model/reload", _reload, "Take up the promoted model now",
        Reloaded, "admin",
        description="It is tried in a child process first; while it is, and if it is refused, the "
        "old model answers. A promoted model is also taken up without this, within seconds.",
        returns="Which model answers", refuses=((409, "The new model failed its checks"),),
    ),
)  # fmt: skip
