package api

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestTheDocumentIsValidAndComplete(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	for _, op := range Operations {
		if item := doc.Paths.Value(op.Path); item == nil || item.GetOperation(op.Method) == nil {
			t.Errorf("%s is not described", op.Name)
		}
		if _, known := shapes[op.Name]; !known {
			t.Errorf("%s has no shape", op.Name)
		}
		for _, name := range op.Params {
			if op.parameter(name).text == "" {
				t.Errorf("parameter %s of %s is not described", name, op.Name)
			}
		}
	}
	if len(shapes) != len(Operations) {
		t.Errorf("%d shapes for %d operations", len(shapes), len(Operations))
	}
}
