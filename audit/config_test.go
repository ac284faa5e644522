package audit

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"the defaults are valid":     {DefaultConfig(), ""},
		"empty fields are valid":     {Config{}, ""},
		"all values are valid":       {Config{File: "a", Level: LevelNone, OnFailure: OnFailureIgnore}, ""},
		"a level that we lack":       {Config{Level: "RequestResponse"}, `level: "RequestResponse": want Metadata, None`},
		"an unknown failure mode":    {Config{OnFailure: "Block"}, `onFailure: "Block": want block, ignore`},
		"standard output is no file": {Config{File: "-"}, `file: "-": want the path of a regular file`},
		"all errors at once":         {Config{File: "-", Level: "x", OnFailure: "y"}, "\nlevel: \"x\": want Metadata, None\nonFailure: \"y\""},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.cfg.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
		})
	}
}
