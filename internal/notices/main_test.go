package main

import (
	"bytes"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is linked into a program, the program itself says.
func TestEachLinkedModuleHasALicence(t *testing.T) {
	var out bytes.Buffer
	if err := write(&out, []string{"/", "windows/amd64"}); err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, part := range strings.Split(out.String(), strings.Repeat("=", 80)+"\n")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		parts[name] = text
	}
	grant := regexp.MustCompile(`(?i)permission is hereby granted|redistribution and use|apache license|mozilla public license|permission to use, copy`)
	for name, text := range parts {
		if !grant.MatchString(text) {
			t.Errorf("%s: this is no licence: %.200s", name, text)
		}
	}
	if parts[toolchain] == "" {
		t.Error("Go itself is missing")
	}
	if testing.Short() {
		t.Skip("SKIP: builds the program")
	}
	built := filepath.Join(t.TempDir(), "sentinel-peer")
	cmd := exec.Command("go", "build", "-trimpath", "-o", built, program) // as make build does, whose cache it has
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	info, err := buildinfo.ReadFile(built)
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range info.Deps {
		if parts[module.Path+" "+module.Version] == "" {
			t.Errorf("%s is linked and missing", module.Path)
		}
	}
	if len(info.Deps) < 10 {
		t.Errorf("only %d modules", len(info.Deps))
	}
}

func TestAPlatformHasTwoParts(t *testing.T) {
	if err := write(&bytes.Buffer{}, []string{"linux"}); err == nil || !strings.Contains(err.Error(), "GOOS/GOARCH") {
		t.Error(err)
	}
}
