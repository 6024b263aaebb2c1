package hostmem

import (
	"testing"
	"testing/fstest"
)

func TestTheLeastLimitCounts(t *testing.T) {
	const machine = "MemTotal:        8000000 kB\nMemFree: 1 kB\n"
	for name, c := range map[string]struct {
		files       map[string]string
		group, want int
	}{
		"nothing is told":    {nil, 0, 0},
		"a machine":          {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n"}, 0, 8_192_000_000},
		"version 2":          {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "1048576\n"}, 1 << 20, 1 << 20},
		"in a container":     {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2097152\n"}, 2 << 20, 2 << 20},
		"more than there is": {map[string]string{"proc/meminfo": "MemTotal: 1024 kB\n", "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2097152\n"}, 2 << 20, 1 << 20},
		"version 1": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4194304\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4 << 20, 4 << 20},
		"version 1 without a limit": {map[string]string{"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0, 8_192_000_000},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := read(root); got.Group != c.group || got.Least() != c.want {
			t.Errorf("%s: %+v, least %d; want group %d, least %d", name, got, got.Least(), c.group, c.want)
		}
	}
}

func TestThisMachineTells(t *testing.T) {
	if got := Read(); got.Machine == 0 {
		t.Skipf("this system does not tell: %+v", got)
	}
}
