package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := write(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

const (
	program   = "github.com/sentinel-peer/sentinel-peer/cmd/sentinel-peer"
	toolchain = "Go, its standard library and runtime"
)

// linked is a package in the output of go list.
type linked struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// write prints, by module, each licence file that applies to a linked package of the module.
func write(out io.Writer, platforms []string) error {
	modules, err := licences(platforms)
	if err != nil {
		return err
	}
	fmt.Fprint(out, "sentinel-peer contains the following software, under the licences that follow.\n")
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if len(modules[name]) == 0 {
			return fmt.Errorf("%s has no licence", name)
		}
		fmt.Fprintf(out, "\n%s\n%s\n", strings.Repeat("=", 80), name)
		for _, file := range slices.Sorted(maps.Keys(modules[name])) {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\n--- %s\n\n%s\n", filepath.Base(file), bytes.TrimSpace(text))
		}
	}
	return nil
}

// licences returns the licence files of each module, and of Go itself.
func licences(platforms []string) (map[string]map[string]bool, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	modules := map[string]map[string]bool{toolchain: {}}
	if err := gather(modules[toolchain], strings.TrimSpace(string(root))); err != nil {
		return nil, err
	}
	if len(platforms) == 0 {
		platforms = []string{"/"}
	}
	for _, platform := range platforms {
		packages, err := list(platform)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			name := p.Module.Path + " " + p.Module.Version
			if modules[name] == nil {
				modules[name] = map[string]bool{}
			}
			for dir := p.Dir; len(dir) >= len(p.Module.Dir); dir = filepath.Dir(dir) { // a package may have its own licence
				if err := gather(modules[name], dir); err != nil {
					return nil, err
				}
			}
		}
	}
	return modules, nil
}

// list returns the packages of the program on a platform, or, for "/", on this machine's.
func list(platform string) ([]linked, error) {
	system, machine, ok := strings.Cut(platform, "/")
	if !ok {
		return nil, fmt.Errorf("%q is not a platform: want GOOS/GOARCH", platform)
	}
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Standard,Module", program)
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if system != "" {
		cmd.Env = append(cmd.Env, "GOOS="+system, "GOARCH="+machine)
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", platform, err)
	}
	var all []linked
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p linked
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-](txt|md|[a-z0-9]+))?$`) // also LICENSE-MIT

func gather(files map[string]bool, dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && legal.MatchString(e.Name()) && filepath.Ext(e.Name()) != ".go" {
			files[filepath.Join(dir, e.Name())] = true
		}
	}
	return err
}
