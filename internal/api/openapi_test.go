package api

import (
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/sentinel-peer/sentinel-peer/lockservice"
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

func TestTheDocumentNamesEveryGuarantee(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	told := doc.Components.Schemas["Lease"].Value.Properties["guarantee"].Value
	for _, g := range []lockservice.Guarantee{lockservice.Quorum, lockservice.BestEffort, lockservice.ThisPeer} {
		if !slices.Contains(told.Enum, any(g.String())) {
			t.Errorf("%v is not among %v", g, told.Enum)
		}
	}
}
