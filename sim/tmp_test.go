package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestTmpShrink(t *testing.T) {
	for _, w := range strings.Fields(os.Getenv("SEEDS")) {
		seed, _ := strconv.ParseUint(w, 10, 64)
		s := Shrink(Draw(seed), 3000)
		fmt.Print(s)
		opt := Options{}
		if os.Getenv("TRACE") != "" {
			opt.Trace = func(l string) { fmt.Println(l) }
		}
		r, _ := s.Run(opt)
		for _, v := range r.Violations {
			fmt.Println("  !!", v)
		}
	}
}
