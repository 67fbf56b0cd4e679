"""What to write by hand where a system's files are not edited."""

from __future__ import annotations

from collections.abc import Callable

from coach.ci.nouns import AddCache, NativeArm, SecretArgs, Sign, Want
from coach.ci.yamledit import CannotEditError
from coach.errors import InputError
from coach.model import BuildSite, Remedy, Safety

_MOUNTS = "Cache mounts are not part of what is exported: the layers are, so an unchanged layer is not run again."


def by_hand(build: BuildSite, want: Want) -> Remedy:
    """Guidance for one build site, without edits."""
    return Remedy(Safety.SHOW, reasons=(_why(build),), guidance=_says(build, want))


def edited(build: BuildSite, want: Want, make: Callable[[], Remedy | None], snippet: str = "") -> Remedy:
    """What ``make`` gives; guidance with the reason, and with the system's own ``snippet``, where it cannot edit."""
    try:
        made = make()
        reason = f"a build of {build.system} is not edited for this"
    except (CannotEditError, InputError) as error:
        made = None
        reason = error.says if isinstance(error, InputError) else str(error)
    if made is not None:
        return made
    says = _says(build, want)
    return Remedy(Safety.SHOW, reasons=(reason,), guidance=f"{says}\n\n{snippet}" if snippet else says)


def _why(build: BuildSite) -> str:
    if build.system in ("script", "make"):
        return f"{build.path} is a script that people run too, so what CI needs is not written into it"
    return f"files of {build.system} are not edited"


def _says(build: BuildSite, want: Want) -> str:
    where = f"`{build.path}` line {build.line}"
    if isinstance(want, AddCache):
        suffix = f"-{want.scope}" if want.scope else ""
        if build.defined_in.endswith((".yml", ".yaml")):
            ref, file = f"type=registry,ref=<image>:buildcache{suffix}", build.defined_in
            return (
                f"A cache named in {file} is asked for on every machine that reads it; name it where {where} calls the "
                f"build instead, on a `docker-container` builder:\n\n```sh\ndocker buildx bake -f {file} --load "
                f"--set '<service>.cache-from={ref}' --set '<service>.cache-to={ref},mode=max' <service>\n```\n\n"
                f"{_MOUNTS}"
            )
        return (
            f"Give the build at {where} a cache that outlives the job: build with `docker buildx build` on a "
            f"`docker-container` builder and add `--cache-from type=registry,ref=<image>:buildcache{suffix}` and "
            f"`--cache-to type=registry,ref=<image>:buildcache{suffix},mode=max`. {_MOUNTS}"
        )
    if isinstance(want, SecretArgs):
        listed = "\n".join(f"- `{name}` → `--secret id={ident},env={name}`" for name, ident in want.names.items())
        return f"Hand these over as secrets instead of build arguments at {where}:\n{listed}"
    if isinstance(want, Sign):
        return (
            f"After the push at {where}, sign the digest: `cosign sign --yes <image>@<digest>`, with the provider's "
            "identity token or with a key from its secret store."
        )
    if isinstance(want, NativeArm):
        return (
            f"Build arm64 on an arm64 machine instead of at {where} under emulation: one job for each platform, "
            "pushed by digest, then `docker buildx imagetools create` joins them."
        )
    return f"Change the build at {where}."
