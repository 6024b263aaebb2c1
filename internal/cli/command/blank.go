package command

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// NeverBlank makes a setting refuse an empty value. An empty value is probably a template that
// was not filled in: the peer would start without a key, or without peers to join.
func NeverBlank(f *pflag.Flag) {
	switch v := f.Value.(type) {
	case pflag.SliceValue:
		f.Value = blankless{f.Value, v}
		f.DefValue = "" // so that the help shows no "[]"
	default:
		if v.Type() == "string" {
			f.Value = filled{v}
		}
	}
}

var errBlank = errors.New("it is empty: give it a value, or leave it out")

// filled is a text that must not be empty.
type filled struct{ pflag.Value }

func (v filled) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errBlank
	}
	return v.Value.Set(text)
}

// blankless is a list whose elements must not be empty.
type blankless struct {
	pflag.Value
	pflag.SliceValue
}

func (v blankless) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errBlank
	}
	if err := v.Value.Set(text); err != nil {
		return err
	}
	if slices.ContainsFunc(v.GetSlice(), func(s string) bool { return strings.TrimSpace(s) == "" }) {
		return errBlank
	}
	return nil
}
