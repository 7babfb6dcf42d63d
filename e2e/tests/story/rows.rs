//! Rows change, and every replica answers with what they are now.

use anyhow::ensure;
use freshet_e2e::process::until;
use freshet_e2e::shop::SOON;

use crate::stage::Stage;

#[test]
fn replicas_fill_hit_and_give_up_what_changed() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("rows");
    place.up().unwrap();
    let replicas = place.replicas().unwrap();
    assert_eq!(replicas.len(), 2);

    let id = stage.insert("9.50");
    for replica in &replicas {
        // A read of a row stores nothing: it is in the cache because of the change alone.
        until("the hydrated cache has the new row", SOON, || {
            let row = place.row(&replica.pod, id)?;
            ensure!(row.source == "cache", "{row:?}");
            ensure!(row.product["price"] == "9.50" && row.product["name"] == "plum", "{row:?}");
            Ok(())
        })
        .unwrap();
    }

    for replica in &replicas {
        let read = place.product(&replica.pod, id).unwrap();
        assert_eq!(
            (read.source.as_str(), &read.product["price"]),
            ("database", &"9.50".into()),
            "{replica:?}"
        );
    }
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "9.50");
    }

    stage.set_price(id, "12.25");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "12.25");
        until("the hydrated row", SOON, || {
            let row = place.row(&replica.pod, id)?;
            ensure!(row.source == "cache" && row.product["price"] == "12.25", "{row:?}");
            Ok(())
        })
        .unwrap();
    }

    stage.sql(&format!("DELETE FROM inventory.product WHERE id = {id}")).unwrap();
    for replica in &replicas {
        until("the row is gone", SOON, || {
            let answer = format!("{:#}", place.product(&replica.pod, id).map(drop).unwrap_err());
            // The app's 404.
            ensure!(answer.contains("could not find the requested resource"), "{answer}");
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_page_of_two_tables_is_made_anew_when_either_changes() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("pages");
    place.up().unwrap();
    let replicas = place.replicas().unwrap();
    let category: u64 = stage
        .sql(
            "INSERT INTO inventory.category SELECT max(id) + 1, 'bread' FROM inventory.category RETURNING id",
        )
        .unwrap()
        .parse()
        .unwrap();
    let page_is = |pod: &str, wanted: &dyn Fn(&serde_json::Value) -> bool| {
        until("the page", SOON, || {
            let page = place.page(pod, category)?;
            ensure!(page.source == "cache" && wanted(&page.product), "{page:?}");
            Ok(())
        })
        .unwrap();
    };
    for replica in &replicas {
        page_is(&replica.pod, &|page| page["category"] == "bread");
    }
    stage.sql(&format!("UPDATE inventory.category SET name = 'cake' WHERE id = {category}")).unwrap();
    for replica in &replicas {
        page_is(&replica.pod, &|page| page["category"] == "cake");
    }
    let id = stage.insert("1.50");
    stage.sql(&format!("UPDATE inventory.product SET category_id = {category} WHERE id = {id}")).unwrap();
    for replica in &replicas {
        page_is(&replica.pod, &|page| page["products"] == serde_json::json!(["plum"]));
    }
}

#[test]
fn from_commit_to_fresh_in_every_replica() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("freshness");
    place.up().unwrap();
    let id = stage.insert("9.50");
    let measured = place.freshness(20, id).unwrap();
    // That every replica came to show every commit is what holds; how long it took says more of the machine.
    eprintln!("from commit to fresh: {measured:?}");
}
