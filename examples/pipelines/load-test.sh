#!/bin/sh
# What every pipeline here runs, from the root of the repository: smoke, a short load with its verdict, comparison with a
# stored baseline. TARGET and everything else of .env.example may be set beside these:
#
#   PROFILE    profile of the load; default examples/pipelines/profile.toml
#   BASELINE   what `python -m analysis baseline` stored; default load-baseline.json. Without it nothing is compared, and
#              what this run would store is left in RESULTS: commit it
#   WITHIN     a change below so many percent does not matter; default 10
#   RESULTS    where junit.xml, summary.md, comparison.md, report.html and baseline.json go; default results
#   PYTHON     default .venv/bin/python
#
# Ends with 0 all well, 1 the smoke message did not arrive, a threshold failed or something got worse, 2 wrong
# configuration, 3 the run or its data is incomplete, so that it says nothing about the application.
set -u
python=${PYTHON:-.venv/bin/python}
results=${RESULTS:-results}
baseline=${BASELINE:-load-baseline.json}
runs=${RUNS_DIR:-runs}
published="junit.xml summary.md report.html"
mkdir -p "$results"
for file in $published comparison.md baseline.json; do
  rm -f "$results/$file"
done

# Copies what the command that ended with this exit code made of its run. With 2 there was none, and when it was
# interrupted perhaps none: the newest run may be another's.
publish() {
  if [ "$1" = 0 ] || [ "$1" = 1 ] || [ "$1" = 3 ]; then
    for file in $published; do
      if [ -f "$runs/latest/$file" ]; then
        cp "$runs/latest/$file" "$results/"
      fi
    done
  fi
}

"$python" -m control smoke
arrived=$?
if [ "$arrived" != 0 ]; then
  publish "$arrived"
  exit "$arrived"
fi

"$python" -m control load --load-profile "${PROFILE:-examples/pipelines/profile.toml}"
verdict=$?
publish "$verdict"
if [ "$verdict" -gt 1 ]; then
  exit "$verdict"
fi

"$python" -m analysis baseline latest --output "$results/baseline.json" || exit
compared=0
if [ -f "$baseline" ]; then
  "$python" -m analysis compare --baseline "$baseline" --within "${WITHIN:-10}" --format markdown latest \
    >"$results/comparison.md"
  compared=$?
  cat "$results/comparison.md"
else
  echo "no $baseline to compare with: commit $results/baseline.json as it" >&2
fi
if [ "$verdict" != 0 ]; then
  exit "$verdict"
fi
exit "$compared"
