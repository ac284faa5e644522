package archtest

import (
	"path"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	docs := map[string][]string{} // package → first words of its comments
	names := map[string]string{}
	for _, s := range goFiles(t) {
		if s.test {
			continue
		}
		names[s.pkg] = s.file.Name.Name
		if s.file.Doc != nil {
			docs[s.pkg] = append(docs[s.pkg], s.file.Doc.Text())
		}
	}
	for pkg, name := range names {
		want := "Package " + name + " "
		if name == "main" { // A command's comment begins with its name, as a sentence.
			command := path.Base(pkg)
			want = strings.ToUpper(command[:1]) + command[1:] + " "
		}
		switch got := docs[pkg]; {
		case len(got) != 1:
			t.Errorf("package %s has %d package comments, want one, in doc.go or its head file", pkg, len(got))
		case !strings.HasPrefix(got[0], want):
			t.Errorf("package %s: its comment begins %.40q, want %q", pkg, got[0], want)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range goFiles(t) {
		limit := maxLines
		if s.test {
			limit = maxTestLines
		}
		if n := strings.Count(s.text, "\n"); n > limit {
			t.Errorf("%s has %d lines, more than %d: which two nouns does it hold?", s.path, n, limit)
		}
	}
}
