from tfrecsession.optimizers.grouped import Grouped
from tfrecsession.optimizers.lazy_adagrad import LazyAdagrad
from tfrecsession.optimizers.lazy_adam import LazyAdam
from tfrecsession.optimizers.lazy_ftrl import LazyFTRL
from tfrecsession.optimizers.lazy_optimizer import LazyOptimizer
from tfrecsession.optimizers.loss_scale import LossScale

__all__ = ["Grouped", "LazyAdagrad", "LazyAdam", "LazyFTRL", "LazyOptimizer", "LossScale"]
