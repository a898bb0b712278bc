package testcontainers_test

import (
	"os"
	"testing"

	"example.com/notifier/testcontainers"
	"go.uber.org/goleak"
)

// shop is what an application would write: its tables, whose triggers publish.
var shop = testcontainers.New(testcontainers.SQL(`
	CREATE TABLE orders (
		id bigint PRIMARY KEY,
		customer text,
		shop text,
		total numeric
	);

	CREATE FUNCTION publish_order() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM notifier.publish('order', action => lower(TG_OP), key => NEW.id::text,
			recipient => NEW.customer, dataset_id => NEW.shop, principal => 'till',
			payload => to_json(NEW), original => CASE WHEN TG_OP = 'UPDATE' THEN to_json(OLD) END);
		RETURN NULL;
	END
	$$;

	CREATE TRIGGER publish_order AFTER INSERT OR UPDATE ON orders
		FOR EACH ROW EXECUTE FUNCTION publish_order();
	INSERT INTO orders VALUES (1, 'somebody', NULL, 1)`))

func TestMain(m *testing.M) {
	// The library's own reaper may be out of reach, and what a watchdog does is to be seen.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(exiting{m})
}

// exiting stops what was started before goroutines are looked for.
type exiting struct{ *testing.M }

func (e exiting) Run() int { return testcontainers.Run(e.M) }

const order = `INSERT INTO orders (id, customer, shop, total) VALUES ($1, $2, $3, $4)`
