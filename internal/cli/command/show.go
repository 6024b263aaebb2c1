package command

import (
	"io"
	"strconv"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Setting is one setting of the daemon. The origin is where its value is from.
type Setting struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// ValueOf returns the value of a flag as JSON shows it.
func ValueOf(v pflag.Value) any {
	if s, several := v.(pflag.SliceValue); several {
		return append([]string{}, s.GetSlice()...)
	}
	if v.Type() == "bool" {
		return v.String() == "true"
	}
	if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil && (v.Type() == "uint64" || v.Type() == "int") {
		return n
	}
	return v.String()
}

// WriteYAML writes settings as a file that Settle reads, with the origin of each in a comment
// if that is wanted.
func WriteYAML(out io.Writer, settings []Setting, origin bool) error {
	file := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range settings {
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(s.Name)
		if err := value.Encode(s.Value); err != nil {
			return err
		}
		switch {
		case !origin:
		case value.Kind == yaml.SequenceNode && len(value.Content) > 0:
			key.LineComment = s.Origin
		default:
			value.LineComment = s.Origin
		}
		file.Content = append(file.Content, key, value)
	}
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	if err := e.Encode(file); err != nil {
		return err
	}
	return e.Close()
}
