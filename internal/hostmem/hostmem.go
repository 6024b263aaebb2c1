package hostmem

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// Limits are the limits of this process in bytes. A limit is 0 if there is none or it is not known.
type Limits struct {
	Group   int // the least limit of the control groups that contain this process
	Machine int // the memory of the machine
}

// Least returns the lower of the limits, 0 if there is none.
func (l Limits) Least() int {
	if l.Group > 0 && (l.Machine == 0 || l.Group < l.Machine) {
		return l.Group
	}
	return l.Machine
}

// Read returns the present limits. Decision 34 says why no library reads them.
func Read() Limits { return read(os.DirFS("/")) }

func read(root fs.FS) Limits {
	return Limits{Group: group(root), Machine: machine(root)}
}

// machine returns MemTotal in bytes.
func machine(root fs.FS) int {
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range bytes.Lines(info) {
		if f := strings.Fields(string(line)); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.Atoi(f[1])
			return kib << 10
		}
	}
	return 0
}

// group returns the least limit of the control groups of this process and of the groups around
// them, since the kernel enforces each of them.
func group(root fs.FS) int {
	least := math.MaxInt
	list, _ := fs.ReadFile(root, "proc/self/cgroup")
	lines := bufio.NewScanner(bytes.NewReader(list))
	for lines.Scan() {
		f := strings.SplitN(lines.Text(), ":", 3) // number, controllers, path
		if len(f) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		if f[1] != "" { // the line is of version 1
			if !strings.Contains(","+f[1]+",", ",memory,") {
				continue
			}
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for at := path.Clean("/" + f[2]); ; at = path.Dir(at) {
			if n := number(root, path.Join(dir, at, file)); n > 0 {
				least = min(least, n)
			}
			if at == "/" {
				break
			}
		}
	}
	if least >= unlimited {
		return 0
	}
	return least
}

// unlimited is below the number that version 1 shows where there is no limit.
const unlimited = math.MaxInt >> 1

func number(root fs.FS, name string) int {
	b, _ := fs.ReadFile(root, name)
	n, _ := strconv.Atoi(string(bytes.TrimSpace(b))) // "max" becomes 0
	return n
}
