def write_report(results, path):
    pass


def read_results(path):
    pass
