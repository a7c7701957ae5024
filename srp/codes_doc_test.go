package srp

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/srp.md has the table of failure codes as the code has it.
func TestCodesInDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/srp.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range FailureCauses() {
		if line := fmt.Sprintf("| %d %s | %s | %s |\n", c.Code, c.Code, c.When, c.Remedy); !strings.Contains(string(doc), line) {
			t.Errorf("docs/srp.md lacks\n%s", line)
		}
	}
}
