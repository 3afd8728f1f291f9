import sys,tempfile,torch,numpy as np
sys.path.insert(0,'.')
import logging; logging.basicConfig(level=logging.INFO)
from tests.unit.test_towers import *
import inspect
enc=write_tiny_encoder(Path(tempfile.mkdtemp()),WORDS)
g=groceries.__wrapped__() if hasattr(groceries,"__wrapped__") else groceries.__pytest_wrapped__.obj()
import time
for ts in (0,30):
  for steps,lr in ((40,2e-3),(80,2e-3),(40,1e-2)):
    c=config_of(enc,ts,steps); c=replace(c,interest=replace(c.interest,learning_rate=lr,residual_learning_rate=5*lr)); t=time.time()
    tw=fitted(g,foundation_of(g,c),c)
    print(ts,steps,lr,(tw.text.row_vectors@tw.text.row_vectors.T).round(2)[0])
    for own in ([1,2],[0,3]):
        h=torch.from_numpy(tw.vectors[own*2])[None]
        with torch.inference_mode(): i=tw.interest(h,torch.full((1,4),5),torch.ones(1,4))
        print("   R",own, tw.vectors@i[0,0].numpy(), time.time()-t)
