"""Hands Snakemake's job scripts to Kubernetes and asks what became of them, with `kubectl`.

`python -m bedrest.workflow.kubernetes submit --image I --volume CLAIM:PATH SCRIPT` prints the job's name, `... status NAME`
success, failed or running: what Snakemake's plugin `cluster-generic` wants. Its own plugin for Kubernetes copies
declared files through an object store; our stages share a folder, so every job mounts the same volume.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

_PROPERTIES = "# properties = "


def manifest(script: Path, *, image: str, volume: str, name: str) -> dict[str, Any]:
    """A Kubernetes Job that runs a job script with what its rule asks for.

    Parameters
    ----------
    script : written by Snakemake, on the volume
    image : container with bedrest inside
    volume : claim:path
    name : of the job
    """
    lines = script.read_text().splitlines()
    told = json.loads(next(line for line in lines if line.startswith(_PROPERTIES)).removeprefix(_PROPERTIES))
    asked, (claim, path) = told["resources"], volume.split(":", 1)
    limits = {"cpu": str(told["threads"]), "memory": f"{asked['mem_mb']}M"}
    if asked.get("gpu"):
        limits["nvidia.com/gpu"] = str(asked["gpu"])  # Kubernetes gives no GPU without a limit
    container = {"name": "stage", "image": image, "command": ["/bin/sh", str(script.resolve())],
                 "resources": {"requests": limits, "limits": limits},
                 "volumeMounts": [{"name": "study", "mountPath": path}]}
    pod = {"restartPolicy": "Never", "containers": [container],
           "volumes": [{"name": "study", "persistentVolumeClaim": {"claimName": claim}}]}
    return {"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": {"app": "bedrest", "stage": told["rule"].replace("_", "-")}},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 60 * asked["runtime"],
                     "ttlSecondsAfterFinished": 86_400, "template": {"spec": pod}}}


def submit(args: argparse.Namespace) -> int:
    """Create the job, print its name."""
    name = f"bedrest-{uuid.uuid4().hex[:16]}"
    wanted = manifest(args.script, image=args.image, volume=args.volume, name=name)
    done = subprocess.run(["kubectl", "--namespace", args.namespace, "create", "-f", "-"], input=json.dumps(wanted),
                          stdout=sys.stderr, text=True)
    if done.returncode == 0:
        print(name)
    return done.returncode


def status(args: argparse.Namespace) -> int:
    """Print success, failed or running; a cluster that does not answer has not said that the job failed."""
    done = subprocess.run(["kubectl", "--namespace", args.namespace, "get", "job", args.name, "-o", "json"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        print("failed" if "NotFound" in done.stderr else "running")
        return 0
    conditions = json.loads(done.stdout).get("status", {}).get("conditions", [])
    held = {c["type"] for c in conditions if c["status"] == "True"}
    print("success" if "Complete" in held else "failed" if "Failed" in held else "running")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (submit, status):
        one = commands.add_parser(command.__name__)
        one.add_argument("--namespace", default="default")
        one.set_defaults(do=command)
        if command is submit:
            one.add_argument("--image", required=True)
            one.add_argument("--volume", required=True, metavar="CLAIM:PATH")
            one.add_argument("script", type=Path)
        else:
            one.add_argument("name")
    args = parser.parse_args()
    return int(args.do(args))


if __name__ == "__main__":
    sys.exit(main())
