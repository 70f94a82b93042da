# Two commands do everything on a fresh machine: `make demo` and `make test`. Both stand on `make install`.
PYTHON ?= python3.11
VENV := .venv
DEMO ?= demo
CORES ?= 2

.PHONY: install demo test test-all train lint docs clean benchmark-engine benchmark-change benchmark-scale fit-errors error-rates
install: $(VENV)/.installed

# The lock decides every version; torch first and alone, so that pip never meets an unpinned one.
$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check -q -r requirements.lock
	$(VENV)/bin/pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	touch $@

demo: install
	test -f $(DEMO)/study.toml || $(VENV)/bin/bedrest demo $(DEMO)
	$(VENV)/bin/bedrest run $(DEMO)/study.toml --cores $(CORES)

# Style, types and the documentation's build are among the tests: test_lint.py, test_docs.py.
test: install
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test-all: install
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not gpu"

train: install
	$(VENV)/bin/python -m pipelines.training --output build/training $(ARGS)

# They judge our own engine; `make benchmark-change ARGS="--subjects 4"` passes options on, `ARGS=--help` lists them.
benchmark-engine benchmark-change benchmark-scale: install
	$(VENV)/bin/python -m pipelines.benchmarks.$(@:benchmark-%=%) $(ARGS)

fit-errors: install
	$(VENV)/bin/python -m pipelines.benchmarks.change.fit_errors $(ARGS)

error-rates: install
	$(VENV)/bin/python -m pipelines.benchmarks.error_rates $(ARGS)

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

docs: install
	$(VENV)/bin/python -m sphinx -q -W --keep-going -c docs . build/docs
	@echo "Look at build/docs/index.html"

clean:
	rm -rf $(DEMO) reports/demo
