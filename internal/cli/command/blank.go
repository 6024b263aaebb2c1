package command

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// NeverBlank has a setting refuse to be given as nothing, which is a template that was not
// filled in: a peer with nobody to join, or without a key, would be another than was meant.
func NeverBlank(f *pflag.Flag) {
	switch v := f.Value.(type) {
	case pflag.SliceValue:
		f.Value = blankless{f.Value, v}
		f.DefValue = "" // help does not show an empty list
	default:
		if v.Type() == "string" {
			f.Value = filled{v}
		}
	}
}

var errBlank = errors.New("it is empty: give it a value, or leave it out")

// filled is a text that is not empty.
type filled struct{ pflag.Value }

func (v filled) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errBlank
	}
	return v.Value.Set(text)
}

// blankless is a list without empty elements.
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
