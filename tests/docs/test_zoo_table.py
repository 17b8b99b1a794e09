"""The zoo's page has what the model index has."""

import importlib.util

from tests.docs.pages import DOCS


def test_the_table_is_that_of_the_model_index():
    spec = importlib.util.spec_from_file_location('zoo_table', DOCS / 'zoo_table.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), 'python docs/zoo_table.py'
    assert '| `cifar10_uncond_50M_500K` | 0.2 | MIT | FID 3.19, 4000 steps |' in module.page()
