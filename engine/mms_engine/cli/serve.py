"""Commands `mms serve` and `mms key`: the server, and its API keys."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mms_engine.cli.cluster_options import ClusterChoice, cluster_options
from mms_engine.cli.decoder_options import DecoderChoice, decoder_options
from mms_engine.cli.options import engine_options, find_bundle
from mms_engine.cli.program import FiniteFloat, SectionedCommand, section

if TYPE_CHECKING:
    from mms_engine.backends.options import RunOptions
    from mms_engine.serve.config import WyomingConfig

_FILE = click.Path(path_type=Path, dir_okay=False)
_POSITIVE = FiniteFloat(min=0, min_open=True)
_server = section("Server")
_wyoming = section("Wyoming protocol")
_limit = section("Limits")
_EXAMPLES = """\b
Examples:
  mms serve
  mms serve --bundle bundles/mms-1b-all --bundle bundles/mms-lid-1024 --host 0.0.0.0 --keys keys.txt
  mms serve --ray --replicas 2 --session-store /mnt/sessions
  curl http://127.0.0.1:8000/v1/audio/transcriptions -F file=@clip.flac -F language=eng
"""
_SIZES: tuple[tuple[str, int, str, str], ...] = (
    ("max_upload_bytes", 100 << 20, "BYTES", "Size of one request."),
    ("max_uploads_bytes", 512 << 20, "BYTES", "Size of all requests in memory."),
    ("max_characters", 4096, "N", "Characters of a text to be spoken."),
    ("max_requests", 128, "N", "Requests being served, waiting ones included."),
    ("max_client_requests", 64, "N", "Requests of one client being served."),
    ("max_connections", 1024, "N", "Open connections."),
    ("max_streams", 1024, "N", "Live streams; fewer where the machine sustains fewer."),
    ("max_client_streams", 128, "N", "Live streams of one client."),
    ("max_frame_bytes", 21 << 20, "BYTES", "Size of one message of a WebSocket."),
    ("max_wyoming_connections", 64, "N", "Open connections of the Wyoming protocol."),
)
_TIMES: tuple[tuple[str, float, str], ...] = (
    ("max_seconds", 7200, "Audio of one request, in seconds."),
    ("max_decoded_seconds", 14400, "Decoded audio, in seconds, beyond which decoding waits."),
    ("max_wait_seconds", 60, "Estimated wait, in seconds, from which requests are refused."),
    ("header_seconds", 10, "Seconds for the headers of a request."),
    ("body_seconds", 10, "Seconds for a body; each 16 KiB received add one."),
    ("idle_seconds", 30, "Seconds between two requests of a connection."),
    ("stream_idle_seconds", 120, "Seconds between two messages of the client of a WebSocket."),
    ("session_seconds", 60, "Seconds for a client to resume a live stream that broke off."),
    ("request_seconds", 600, "Seconds until a request must have its result."),
    ("drain_seconds", 30, "Seconds for running requests and streams after SIGTERM."),
)


def _with_limits(command: Any) -> Any:  # noqa: ANN401
    for name, seconds, text in reversed(_TIMES):
        command = _limit_option(name, seconds, _POSITIVE, "S", text)(command)
    for name, size, metavar, text in reversed(_SIZES):
        command = _limit_option(name, size, click.IntRange(1), metavar, text)(command)
    return command


def _limit_option(
    name: str, default: float, kind: click.IntRange | FiniteFloat, metavar: str, text: str
) -> Callable[[Any], Any]:
    return _limit(
        _flag(name),
        type=kind,
        metavar=metavar,
        default=default,
        show_default=True,
        help=text,
        **_variable(name),
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _variable(name: str) -> dict[str, Any]:
    return {"envvar": f"MMS_{name.upper()}", "show_envvar": True}


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Take the values of a TOML file as defaults of the options."""
    import tomllib

    if path is None:
        return
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}") from error
    named = {name.replace("-", "_"): value for name, value in values.items()}
    known = {_name(parameter): parameter.name for parameter in ctx.command.params}
    aliases = named.get("alias")
    if isinstance(aliases, dict):
        named["alias"] = [f"{name}={target}" for name, target in aliases.items()]
    for name, value in named.items():
        if known.get(name) in (None, "config") or isinstance(value, dict):
            raise click.BadParameter(f"{path}: no option {name!r}")
    ctx.default_map = {str(known[name]): value for name, value in named.items()}


def _name(parameter: click.Parameter) -> str:
    """Return the name of an option as it is written, without its dashes."""
    return parameter.opts[0].removeprefix("--").replace("-", "_")


@click.command(cls=SectionedCommand, epilog=_EXAMPLES)
@_server(
    "--config",
    type=_FILE,
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with the names of these options; options and variables take precedence.",
    **_variable("config"),
)
@_server(
    "--bundle",
    "bundles",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="Bundle of speech recognition, identification, alignment or voices; may be repeated.  "
    "[default: the demo bundles]",
    **_variable("bundle"),
)
@_server("--host", default="127.0.0.1", show_default=True, help="Address.", **_variable("host"))
@_server(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port; 0 for any free one.",
    **_variable("port"),
)
@_server("--keys", type=_FILE, help="File of API keys, see mms key.", **_variable("keys"))
@_server(
    "--tls-certificate",
    type=_FILE,
    help="Certificate and its chain (PEM), for HTTPS.",
    **_variable("tls_certificate"),
)
@_server("--tls-key", type=_FILE, help="Key of the certificate (PEM).", **_variable("tls_key"))
@_server(
    "--alias",
    multiple=True,
    metavar="NAME=MODEL",
    help="Further name of a model; may be repeated.",
    **_variable("alias"),
)
@_server(
    "--cors-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of web pages that may call the server, or *; may be repeated.  [default: none]",
    **_variable("cors_origin"),
)
@_server(
    "--admission/--no-admission",
    default=True,
    show_default=True,
    help="Refuse live streams beyond what this machine, measured at the first start, sustains.",
    **_variable("admission"),
)
@_server(
    "--session-store",
    type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True),
    metavar="FOLDER",
    help="Folder, shared by several servers, in which the states of live streams that clients may "
    "resume are kept.  [default: in memory only]",
    **_variable("session_store"),
)
@_server("--log-text", is_flag=True, help="Transcripts in the log.", **_variable("log_text"))
@_wyoming(
    "--wyoming-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port of the Wyoming protocol, for Home Assistant; 0 for any free one.  [default: not "
    "served]",
    **_variable("wyoming_port"),
)
@_wyoming(
    "--wyoming-host",
    default="127.0.0.1",
    show_default=True,
    help="Address; the protocol has no keys.",
    **_variable("wyoming_host"),
)
@_wyoming(
    "--wyoming-language",
    multiple=True,
    metavar="CODE",
    help="Language that is announced and identified; may be repeated.  [default: all]",
    **_variable("wyoming_language"),
)
@_wyoming(
    "--wyoming-voice",
    multiple=True,
    metavar="CODE",
    help="Voice that is announced, first the default; may be repeated.  [default: all]",
    **_variable("wyoming_voice"),
)
@_wyoming(
    "--wyoming-zeroconf",
    metavar="NAME",
    help="Name under which Home Assistant discovers the server.  [default: not announced]",
    **_variable("wyoming_zeroconf"),
)
@cluster_options
@_with_limits
@decoder_options
@engine_options
def serve(
    *,
    engine: "RunOptions",
    decoding: DecoderChoice,
    cluster: ClusterChoice,
    **values: Any,  # noqa: ANN401
) -> None:
    """Serve the models over HTTP.

    The routes are those of OpenAI's API, so that its clients work with another base URL. SIGTERM
    and Ctrl-C end the server after the running requests; pressed twice, Ctrl-C ends it at once.
    """
    from mms_engine.errors import MmsError

    logging.getLogger("mms_engine.serve").setLevel(logging.INFO)
    try:
        from mms_engine.serve.config import Limits, ServeConfig
        from mms_engine.serve.server import serve as run
    except ModuleNotFoundError as error:
        raise MmsError(
            f"the server needs the package {error.name}: pip install 'mms-engine[serve]'"
        ) from error
    chosen = cluster.config(port=values["port"], wyoming_port=values["wyoming_port"])
    decoding.check(has_alternatives=False, languages=())
    names = [row[0] for row in _SIZES] + [row[0] for row in _TIMES]
    config = ServeConfig(
        bundles=tuple(values["bundles"]) or _demo_bundles(),
        run=engine,
        beam=decoding.search(),
        host=values["host"],
        port=values["port"],
        tls_certificate=values["tls_certificate"],
        tls_key=values["tls_key"],
        keys=values["keys"],
        aliases=tuple(map(_alias, values["alias"])),
        cors_origins=values["cors_origin"],
        admission=values["admission"],
        session_store=values["session_store"],
        log_text=values["log_text"],
        wyoming=_wyoming_config(values),
        limits=Limits(**{name: values[name] for name in names}),
    )
    if chosen is None:
        run(config)
    else:
        cluster.run(config, chosen)


def _demo_bundles() -> tuple[Path, ...]:
    """Return the demo bundle, and those of identification and of a voice where they exist."""
    from mms_engine.system import demo_bundle

    others = map(demo_bundle, ("demo-lid", "demo-voice"))
    return (find_bundle(None), *(one for one in others if one.is_dir()))


def _wyoming_config(values: dict[str, Any]) -> "WyomingConfig | None":
    from mms_engine.serve.config import WyomingConfig

    names = ("host", "language", "voice", "zeroconf")
    host, languages, voices, zeroconf = (values[f"wyoming_{name}"] for name in names)
    port = values["wyoming_port"]
    if port is None:
        if languages or voices or zeroconf:
            raise click.UsageError("options of the Wyoming protocol need --wyoming-port")
        return None
    return WyomingConfig(
        port=port, host=host, languages=languages, voices=voices, zeroconf=zeroconf
    )


def _alias(given: str) -> tuple[str, str]:
    name, separator, target = given.partition("=")
    if not (name and separator and target):
        raise click.BadParameter(f"{given!r} is not NAME=MODEL", param_hint="--alias")
    return name, target


@click.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="Permission: transcribe, align, identify, speak or metrics; may be repeated.  [default: "
    "all but metrics]",
)
def key(*, name: str, scopes: tuple[str, ...]) -> None:
    """Make an API key of a server.

    The key is printed once on standard error; the line for the file of mms serve --keys, with
    its SHA-256, on standard output.
    """
    from mms_engine.serve.auth import SCOPES, new_key

    chosen = scopes or tuple(scope for scope in SCOPES if scope != "metrics")
    secret, line = new_key(name, chosen)
    click.echo(line)
    click.echo(f"The key, which is kept nowhere: {secret}", err=True)
