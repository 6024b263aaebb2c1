// Command all runs the benchmarks that set this project beside its rivals and
// prints one table. Run it from the bench folder:
//
//	go run ./all                     # everything, about eight minutes
//	go run ./all visible sustained   # some subjects
//	go run ./all -cpuprofile put.prof put
//
// Each subject runs in a process of its own; locks and queue use redis-server if it is
// in the PATH. The exit code is 1 if something could not be measured or missed its goal.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sentinel-peer/sentinel-peer/bench/measure"
	"github.com/sentinel-peer/sentinel-peer/bench/subject"
)

func main() {
	profile := flag.String("cpuprofile", "", "write the processor profile of the one subject named to this file")
	child := flag.Bool("child", false, "measure the one subject named and print its rows as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return parent(ctx, *profile, flag.Args()) }
	if *child {
		run = func() error { return measureOne(ctx, *profile, flag.Args()) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parent runs the named subjects, or all, and prints the table.
func parent(ctx context.Context, profile string, names []string) error {
	if len(names) == 0 {
		for _, s := range subject.All {
			names = append(names, s.Name)
		}
	}
	if profile != "" && len(names) != 1 {
		return errors.New("-cpuprofile wants exactly one subject")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var rows []measure.Row
	var faults []error
	for _, name := range names {
		if _, err := find(name); err != nil {
			return err
		}
		start := time.Now()
		cmd := exec.CommandContext(ctx, self, "-child", "-cpuprofile", profile, name)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		var got []measure.Row
		if err == nil {
			err = json.Unmarshal(out, &got)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		rows = append(rows, got...)
		fmt.Fprintf(os.Stderr, "%s took %v\n", name, time.Since(start).Round(time.Second))
	}
	fmt.Printf("%s, %s/%s, %d cores, %s\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().Format(time.DateTime))
	if missed := measure.Print(os.Stdout, rows); missed > 0 {
		faults = append(faults, fmt.Errorf("%d of the goals missed", missed))
	}
	return errors.Join(faults...)
}

func measureOne(ctx context.Context, profile string, names []string) error {
	if len(names) != 1 {
		return errors.New("-child wants exactly one subject")
	}
	s, err := find(names[0])
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	rows, err := s.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(rows)
}

func find(name string) (subject.Subject, error) {
	i := slices.IndexFunc(subject.All, func(s subject.Subject) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for _, s := range subject.All {
			names = append(names, s.Name)
		}
		return subject.Subject{}, fmt.Errorf("subject %q: want %s", name, strings.Join(names, ", "))
	}
	return subject.All[i], nil
}
