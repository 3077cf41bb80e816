from proxy.domain.errors import Bug, ClientFault, ConfigFault, Place, Retry, StandbyError, StoreFault, UpstreamFault


def test_every_error_of_ours_has_one_root() -> None:
    for kind in (ClientFault, UpstreamFault, StoreFault, ConfigFault, Bug):
        assert issubclass(kind, StandbyError)


def test_a_config_fault_names_file_and_line_first() -> None:
    fault = ConfigFault("port: must be a number", Place("config.yaml", 7))
    assert str(fault) == "config.yaml:7: port: must be a number"
    assert str(ConfigFault("no such file")) == "no such file"


def test_an_upstream_fault_says_whether_to_try_again() -> None:
    fault = UpstreamFault("busy", retry=Retry.LATER, status=429, after_seconds=3.0)
    assert (str(fault), fault.retry, fault.status, fault.after_seconds) == ("busy", Retry.LATER, 429, 3.0)


def test_a_client_fault_is_a_400_unless_it_says_otherwise() -> None:
    assert ClientFault("wrong").status == 400
    assert ClientFault("wrong", status=422, code="c", param="p").param == "p"
