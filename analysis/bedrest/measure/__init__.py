import sys

import bedrest

sys.modules[__name__].__class__ = bedrest.CallablePackage
