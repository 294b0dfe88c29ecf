from tfrecsession.optimizers.lazy_adagrad import LazyAdagrad
from tfrecsession.optimizers.lazy_adam import LazyAdam
from tfrecsession.optimizers.lazy_optimizer import LazyOptimizer

__all__ = ["LazyAdagrad", "LazyAdam", "LazyOptimizer"]
