# Needs python3 >= 3.11 only; packages are installed into .venv.

PYTHON ?= python3
BIN := .venv/bin

# On Linux the default build of torch includes 2 GB of CUDA; this index has the small CPU build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: demo test test-quick test-reading test-writing lint coverage audit docs wheel clean

demo: .venv/plain.stamp
	$(BIN)/cmcr simulate demo --size 1024 --seed 22 --cloud-cover 0.3 --overwrite
	$(BIN)/cmcr remove demo/s2.tif demo/s1.tif -o demo/clear.tif --steps 4 \
	    --provenance demo/provenance.tif --quicklook demo/clear.png --overwrite
	$(BIN)/cmcr validate demo/clear.tif --source demo/s2.tif --provenance demo/provenance.tif
	@echo
	@echo "Look at demo/clear.png: before, after, what changed."

# Two processes, one thread each; all tests of a file run in one of them.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest
TEST := $(PYTEST) -n $(WORKERS) --dist loadfile

test: lint
	$(TEST)

# Under a minute: reading, writing and networks, without runs from end to end. Two processes that share nothing:
# one that hands out tests, and imports of all test files in both, would cost a third more.
test-quick: .venv/dev.stamp
	$(MAKE) --no-print-directory -j 2 test-reading test-writing

test-reading:
	$(PYTEST) tests/scene --ignore tests/scene/layers/test_inputs_as_they_come.py

test-writing:
	$(PYTEST) $(addprefix tests/,output model runtime test_api.py test_architecture.py test_options.py) $(addprefix --ignore tests/,model/test_costs.py output/test_validation.py)

lint: .venv/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Line and branch coverage by folder.
coverage: .venv/dev.stamp
	$(BIN)/coverage run -m pytest
	@for folder in scene ground output model runtime removal arrays cli training evaluation simulate; do \
	    echo "$$folder: $$($(BIN)/coverage report --include="cmcr_cli/$$folder/*" --format total) %"; done

# SBOM of the installed packages (offline), and their known vulnerabilities (queries pypi.org).
audit: .venv/audit.stamp
	$(BIN)/cyclonedx-py environment .venv --output-file sbom.json
	$(BIN)/pip-audit --skip-editable

# The variable suppresses an announcement about the future of MkDocs, not a warning about the site.
docs: .venv/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Read build/site/index.html."

# In dist/: sdist and wheel, tried in an environment of their own.
wheel:
	$(PYTHON) release/check_wheel.py --torch-index $(TORCH_INDEX)

clean:
	rm -rf .venv demo build dist sbom.json .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis

define install
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --extra-index-url $(TORCH_INDEX) --retries 1 -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.$(1)'
	touch $@
endef

# One stamp for each extra of pyproject.toml, and one for none.
.venv/plain.stamp: pyproject.toml constraints.txt
	$(call install)

.venv/%.stamp: pyproject.toml constraints.txt
	$(call install,[$*])
