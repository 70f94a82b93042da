#!/usr/bin/env bash
# What most would guess: Snakemake keeps checksums of inputs, so a scan that was only touched (copied back from a backup,
#   synchronised, opened by a viewer that saves) makes nothing run again.
# What is true: that holds for files of less than 1 MB alone, the default of --max-checksum-file-size. A NIfTI scan is
#   larger: its unchanged bytes under a newer time run its whole subject again, and the reason printed is "Updated input
#   files". Raising the limit afterwards does not help, since no checksum was kept when the rule ran; with
#   --max-checksum-file-size 10000000 from the first run on, the touched scan runs nothing.
# Version: snakemake 9.27.1, Python 3.11.
# Who meets it: users of Snakemake pipelines for MR (snakebids, our own workflow before it compared contents itself) on
#   storage that resets times: restored backups, rsync without -t, cloud synchronisation.
# Prints what is planned in each case; ends with 1 if any of it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/pip install -q --disable-pip-version-check snakemake==9.27.1
export XDG_CACHE_HOME="$work/cache"

cat > Snakefile <<'RULES'
rule all:
    input: "small.txt", "large.txt"
rule small:
    input: "small.nii"
    output: "small.txt"
    shell: "wc -c < {input} > {output}"
rule large:
    input: "large.nii"
    output: "large.txt"
    shell: "wc -c < {input} > {output}"
RULES
head -c 900000 /dev/zero > small.nii    # a mask, say
head -c 2000000 /dev/zero > large.nii   # a scan

run() { (cd "$1" && shift && ../venv/bin/python -m snakemake --cores 1 "$@" 2>&1); }
planned() { run "$@" --dry-run | grep -oE '^rule (small|large):' | sort | tr -d '\n' || true; }

mkdir default raised
for folder in default raised; do cp Snakefile small.nii large.nii "$folder"; done
run default > first.log
run raised --max-checksum-file-size 10000000 > second.log
sleep 1.1
touch {default,raised}/{small,large}.nii
touched=$(planned default)
afterwards=$(planned default --max-checksum-file-size 10000000)
raised=$(planned raised --max-checksum-file-size 10000000)
reason=$(run default --dry-run | grep -m1 'reason:' | sed 's/^ *//' || true)

venv/bin/python -m snakemake --version
echo "both inputs touched, default:                 runs again: ${touched:-nothing}"
echo "limit raised afterwards:                      runs again: ${afterwards:-nothing}"
echo "limit raised from the first run on:           runs again: ${raised:-nothing}"
echo "reason printed: $reason"
[ "$touched" = "rule large:" ] && [ "$afterwards" = "rule large:" ] && [ -z "$raised" ]
[[ "$reason" == *"Updated input files: large.nii"* ]]
