"""What people install, made once from the build tree of HEARTH_BIN."""

import pytest
from release import BUILD, Made, make_packages


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    assert (BUILD / "CPackConfig.cmake").exists(), f"{BUILD} is no build tree that can be packed"
    out = tmp_path_factory.mktemp("packages")
    make_packages(BUILD, out)
    return Made(*(next(out.glob(pattern)) for pattern in ("*.whl", "*.deb", "*.tar.gz")))
