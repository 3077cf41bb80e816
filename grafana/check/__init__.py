"""What shows that the dashboards work: a day's traffic with everything that goes wrong, and every panel's queries."""
