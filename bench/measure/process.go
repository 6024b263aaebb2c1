package measure

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Heap returns the bytes that are reachable now.
func Heap() uint64 {
	// Twice: the first collection runs finalizers and empties pools.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// CPU returns the processor time this process has used.
func CPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// PeakRSS returns the most memory this process has held, in bytes.
func PeakRSS() (uint64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("peak memory: /proc/self/status has no VmHWM")
}

// Loopback returns the bytes that all processes have sent over the loopback interface since
// boot. Packet headers and acknowledgements count, as they do on a wire.
func Loopback() (uint64, error) {
	text, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		return 0, fmt.Errorf("loopback traffic: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, counters, ok := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(counters); ok && name == "lo" && len(f) > 8 {
			var sent uint64
			if _, err := fmt.Sscan(f[8], &sent); err != nil {
				return 0, fmt.Errorf("loopback traffic: %w", err)
			}
			return sent, nil
		}
	}
	return 0, fmt.Errorf("loopback traffic: /proc/self/net/dev has no lo")
}
