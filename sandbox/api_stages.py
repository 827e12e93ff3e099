"""A deployed stage of a REST API: which route serves a request."""

from __future__ import annotations

import random
import re
from urllib.parse import unquote

from sandbox.access_log import AccessLogTemplate
from sandbox.api_authorization import AWS_IAM
from sandbox.definitions import ApiStage, FunctionDefinition, Route
from sandbox.model.throttling import TokenBucket
from sandbox.truth import ChainTruth


class CompiledRoute:
    """A route, with what an event of it always says."""

    __slots__ = ("chain", "function", "guarded", "parameters", "pattern", "resource_id", "route")

    resource_id: str
    route: Route

    def __init__(self, route: Route, function: FunctionDefinition | None, chain: ChainTruth | None) -> None:
        self.route = route
        self.function = function
        self.chain = chain
        self.guarded = route.api_key_required or route.authorization_type == AWS_IAM
        self.resource_id = f"{random.Random(route.path).getrandbits(30):06x}"[:6]
        self.pattern, self.parameters = _pattern(route.path)


def _pattern(path: str) -> tuple[re.Pattern[str], list[str]]:
    """(pattern of the paths, names of its groups): `{name}` is one segment of a path, `{name+}` the rest of it."""
    names, segments = [], []
    for segment in path.split("/"):
        if segment.startswith("{") and segment.endswith("}"):
            names.append(segment.strip("{+}"))
            segments.append("(.+)" if segment.endswith("+}") else "([^/]+)")
        else:
            segments.append(re.escape(segment))
    return re.compile("/".join(segments)), names


class DeployedStage:
    """A deployed stage at one generation of the definitions."""

    __slots__ = (
        "access_log",
        "access_log_stream",
        "bucket",
        "definition",
        "dimensions",
        "domain",
        "exact",
        "region",
        "stage_dimensions",
        "templates",
    )

    definition: ApiStage
    domain: str
    region: str

    def __init__(self, stage: ApiStage, routes: list[CompiledRoute], bucket: TokenBucket | None) -> None:
        self.definition = stage
        self.bucket = bucket
        regions = [compiled.function.region for compiled in routes if compiled.function is not None]
        self.region = regions[0] if regions else "us-east-1"
        self.domain = f"{stage.api_id}.execute-api.{self.region}.amazonaws.com"
        self.dimensions = (("ApiName", stage.name),)
        self.stage_dimensions = (("ApiName", stage.name), ("Stage", stage.stage))
        self.exact = {
            (compiled.route.method, compiled.route.path): compiled
            for compiled in routes
            if "{" not in compiled.route.path
        }
        self.templates = sorted(
            (compiled for compiled in routes if "{" in compiled.route.path),
            key=lambda compiled: ("+}" in compiled.route.path, -len(compiled.route.path)),
        )
        wanted = stage.access_log_group and stage.access_log_format
        self.access_log = AccessLogTemplate(stage.access_log_format or "") if wanted else None
        self.access_log_stream = f"{random.Random(f'{stage.api_id}/{stage.stage}').getrandbits(128):032x}"

    def match(self, method: str, path: str) -> tuple[CompiledRoute, dict[str, str] | None] | None:
        """(route, path parameters); a route of its own method goes before ANY."""
        for wanted in (method, "ANY"):
            compiled = self.exact.get((wanted, path))
            if compiled is not None:
                return compiled, None
        for wanted in (method, "ANY"):
            for compiled in self.templates:
                if compiled.route.method == wanted:
                    found = compiled.pattern.fullmatch(path)
                    if found is not None:
                        return compiled, dict(zip(compiled.parameters, map(unquote, found.groups()), strict=True))
        return None
