package doctor

import (
	"testing"

	"example.com/notifier/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
