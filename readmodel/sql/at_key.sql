e.id = page.id
