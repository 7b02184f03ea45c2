# make demo: a seeded shop with its simulator.  make test: the whole suite.  make check: style, types, arrows.
VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
PARALLEL := -n 4 --dist loadgroup  # most tests wait for something, so four of them share two cores well

.PHONY: install demo test check bench lock clean

install: $(READY)

$(READY): requirements.lock pyproject.toml
	python3 -c 'import sys; sys.exit("思域需要 Python 3.11 或更高版本" if sys.version_info < (3, 11) else 0)'
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

demo: install
	$(VENV)/bin/siyu demo $(OPTIONS)

test: install
	$(PYTHON) -m pytest $(PARALLEL) $(OPTIONS)

check: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

bench: install
	$(PYTHON) -m benchmarks --quick

# The lock carries versions and hashes but no addresses, so it installs from whatever index a machine uses.
lock:
	uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --group dev --extra semantic --no-header \
		pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
