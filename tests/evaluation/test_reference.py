import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mmagic_adm.evaluation import Reference, write_batch
from mmagic_adm.evaluation.reference import shared_reference
from mmagic_adm.files.whole import CheckpointError
from tests.evaluation.tiny import TinyFeatures, blocky_images, run_on_processes

COUNT = 70


@pytest.fixture
def extractor():
    return TinyFeatures()


@pytest.fixture
def batch(tmp_path):
    write_batch(tmp_path / 'reference.npz', [blocky_images(COUNT)], COUNT)
    return tmp_path / 'reference.npz'


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'real'
    folder.mkdir()
    for i, image in enumerate(blocky_images(COUNT)):
        Image.fromarray(image).save(folder / f'{i:03}.png')
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def expected_features(extractor, kind):
    return extractor(torch.from_numpy(blocky_images(COUNT)).permute(0, 3, 1, 2))[kind]


def assert_statistics_of_the_images(statistics, extractor, kind):
    mu, sigma = statistics
    features = expected_features(extractor, kind).double().numpy()
    np.testing.assert_allclose(mu, features.mean(0), rtol=1e-6)
    np.testing.assert_allclose(sigma, np.cov(features, rowvar=False), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('kind', ['pool', 'spatial'])
def test_a_batch_of_images_alone_is_looked_at(kind, batch, extractor):
    assert_statistics_of_the_images(Reference(batch).statistics(kind, extractor), extractor, kind)


def test_all_that_images_tell_comes_from_one_look(batch, extractor):
    reference = Reference(batch)
    reference.statistics('pool', extractor)
    reference.statistics('spatial', extractor)
    torch.testing.assert_close(
        reference.rows(extractor).features, expected_features(extractor, 'pool')
    )
    assert extractor.calls == 2 + 1  # two batches, and the one expected


def test_stored_statistics_are_taken_as_they_are(tmp_path, extractor):
    stored = dict(mu=np.arange(6.0), sigma=np.eye(6), mu_s=np.zeros(4), sigma_s=2 * np.eye(4))
    write_batch(tmp_path / 'r.npz', [blocky_images(COUNT)], COUNT, stored)
    reference = Reference(tmp_path / 'r.npz')
    for kind, suffix in (('pool', ''), ('spatial', '_s')):
        mu, sigma = reference.statistics(kind, extractor)
        np.testing.assert_array_equal(mu, stored['mu' + suffix])
        np.testing.assert_array_equal(sigma, stored['sigma' + suffix])
    assert extractor.calls == 0
    assert reference.rows(extractor).features.shape == (COUNT, 6)


def test_stored_statistics_of_the_inception_are_not_taken_for_another_networks(tmp_path, extractor):
    stored = dict(mu=np.arange(6.0), sigma=np.eye(6))
    write_batch(tmp_path / 'r.npz', [blocky_images(COUNT)], COUNT, stored)
    extractor.published_as = ''
    statistics = Reference(tmp_path / 'r.npz').statistics('pool', extractor)
    assert_statistics_of_the_images(statistics, extractor, 'pool')


def test_a_file_of_statistics_alone_serves_fid_and_nothing_else(tmp_path, extractor):
    np.savez(tmp_path / 'edm.npz', mu=np.arange(6.0), sigma=np.eye(6))
    reference = Reference(tmp_path / 'edm.npz')
    reference.check_has_statistics('pool', extractor)
    np.testing.assert_array_equal(reference.statistics('pool', extractor)[0], np.arange(6.0))
    for demand in (
        lambda: reference.check_has_statistics('spatial', extractor),
        lambda: reference.check_has_images(),
        lambda: reference.rows(extractor).features,
    ):
        with pytest.raises(ValueError, match=r'edm\.npz has no images, but mu, sigma'):
            demand()


def test_features_stand_in_for_images_if_they_are_of_the_network(tmp_path, extractor):
    features = np.ones((COUNT, 6), np.float32)
    statistics = dict(mu=np.arange(6.0), sigma=np.eye(6), features=features)
    statistics.update(number=np.arange(COUNT), label=np.zeros(COUNT, int))
    np.savez(tmp_path / 'own.npz', **statistics, network=extractor.identity())
    np.testing.assert_array_equal(
        Reference(tmp_path / 'own.npz').rows(extractor).features, features
    )
    np.savez(tmp_path / 'other.npz', **statistics, network='another')
    with pytest.raises(ValueError, match='features of another network'):
        Reference(tmp_path / 'other.npz').rows(extractor)


def test_of_a_folder_a_reference_batch_is_made_once(folder, cache, extractor):
    statistics = Reference(folder).statistics('pool', extractor)
    assert_statistics_of_the_images(statistics, extractor, 'pool')
    calls = extractor.calls

    again = Reference(folder)
    assert_statistics_of_the_images(again.statistics('spatial', extractor), extractor, 'spatial')
    assert extractor.calls == calls + 1  # the one expected
    assert again.rows(extractor).features.shape == (COUNT, 6)
    assert len(list((cache / 'references').glob('*.npz'))) == 1


def test_the_file_made_of_images_is_a_reference_for_that_network(folder, cache, extractor):
    Reference(folder).statistics('pool', extractor)
    [made] = (cache / 'references').glob('*.npz')
    calls, reference = extractor.calls, Reference(made)
    statistics, rows = reference.statistics('pool', extractor), reference.rows(extractor)
    assert extractor.calls == calls
    assert_statistics_of_the_images(statistics, extractor, 'pool')
    torch.testing.assert_close(rows.features, expected_features(extractor, 'pool'))
    other = TinyFeatures()
    other.weight *= 2
    for demand in (reference.rows, lambda network: reference.statistics('pool', network)):
        with pytest.raises(ValueError, match='features of another network than TinyFeatures'):
            demand(other)


def test_two_peoples_references_of_the_same_images_have_one_name(folder, batch, cache, extractor):
    Reference(folder).rows(extractor)
    of_batch = Reference(batch)
    of_batch.rows(extractor)
    [made] = (cache / 'references').glob('*.npz')
    assert made.name.startswith(of_batch.fingerprint())


def test_a_folder_that_has_changed_is_looked_at_again(folder, cache, extractor):
    Reference(folder).statistics('pool', extractor)
    Image.fromarray(blocky_images(1, seed=9)[0]).save(folder / '000.png')
    Reference(folder).statistics('pool', extractor)
    assert len(list((cache / 'references').glob('*.npz'))) == 2


def edm2_statistics(path, **parts):
    statistics = {name: dict(mu=np.arange(d + 0.0), sigma=np.eye(d)) for name, d in parts.items()}
    path.write_bytes(pickle.dumps(dict(num_images=9, **statistics), protocol=4))
    return path


def test_edm2s_pickle_has_statistics_of_each_network(tmp_path, extractor):
    reference = Reference(edm2_statistics(tmp_path / 'ref.pkl', fid=6, fd_dinov2=3))
    for name, dim in (('fid', 6), ('fd_dinov2', 3)):
        extractor.published_as = name
        mu, sigma = reference.statistics('pool', extractor)
        np.testing.assert_array_equal(mu, np.arange(dim))
        np.testing.assert_array_equal(sigma, np.eye(dim))
    assert extractor.calls == 0
    extractor.published_as = ''
    with pytest.raises(ValueError, match=r'ref\.pkl has no images, but fd_dinov2, fid'):
        reference.check_has_statistics('pool', extractor)


def test_nothing_in_a_pickle_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'trace'),)

    (tmp_path / 'ref.pkl').write_bytes(pickle.dumps(dict(fid=Trap())))
    with pytest.raises(CheckpointError, match='was refused, and nothing of it was run'):
        Reference(tmp_path / 'ref.pkl')
    assert not (tmp_path / 'trace').exists()
    (tmp_path / 'ref.pkl').write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match='it has no mu and sigma'):
        Reference(tmp_path / 'ref.pkl')


def test_a_folder_is_looked_at_again_by_another_network(folder, extractor):
    Reference(folder).statistics('pool', extractor)
    other = TinyFeatures()
    other.weight *= 2
    statistics = Reference(folder).statistics('pool', other)
    assert_statistics_of_the_images(statistics, other, 'pool')


def test_every_network_sees_all_of_a_folder(folder, extractor, monkeypatch):
    monkeypatch.setattr('mmagic_adm.evaluation.reference.ROWS_KEPT', 10)
    reference, other = Reference(folder), TinyFeatures()
    other.weight *= 2
    for network in (extractor, other):
        assert_statistics_of_the_images(reference.statistics('pool', network), network, 'pool')
        assert len(reference.rows(network).features) == 10


def test_processes_share_the_work(folder, batch, cache, tmp_path):
    def look():
        extractor = TinyFeatures()
        of_folder = Reference(folder).statistics('pool', extractor)
        reference = Reference(batch)
        of_batch = reference.statistics('pool', extractor)
        rows = reference.rows(extractor).features
        return [[part.numpy() for part in (*of_folder, *of_batch, rows)], extractor.calls]

    extractor = TinyFeatures()
    for (mu_f, sigma_f, mu_b, sigma_b, rows), calls in run_on_processes(look, 2, tmp_path):
        assert_statistics_of_the_images((mu_f, sigma_f), extractor, 'pool')
        assert_statistics_of_the_images((mu_b, sigma_b), extractor, 'pool')
        assert rows.shape == (COUNT, 6)
        assert calls == 2  # of two batches each
    assert len(list((cache / 'references').glob('*.npz'))) == 1


def test_metrics_of_one_source_share_it(batch):
    first = shared_reference(batch)
    assert shared_reference(str(batch)) is first


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (dict(features=np.zeros(3)), 'it has neither images .* but features'),
        (dict(arr_0=blocky_images(4) / 255.0, mu=np.zeros(3)), 'arr_0 is float64'),
    ],
)
def test_other_files_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / 'r.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        Reference(tmp_path / 'r.npz')


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    for content in (b'PK\x03\x04 cut off', b'no zip at all'):
        (tmp_path / 'r.npz').write_bytes(content)
        with pytest.raises(CheckpointError, match=r'r\.npz is truncated or damaged'):
            Reference(tmp_path / 'r.npz')


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match='does not exist; a reference is an'):
        Reference(tmp_path / 'nothing.npz')
