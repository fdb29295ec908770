#include "executor/comm/bind.h"

#include <sched.h>
#include <unistd.h>

namespace shardwright {

void bind_to_core(int index) {
  // The process's main thread keeps the cores that the process was given.
  cpu_set_t allowed;
  if (sched_getaffinity(getpid(), sizeof(allowed), &allowed) != 0) return;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || index-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof(one), &one);  // 0: this thread
    return;
  }
}

}  // namespace shardwright
